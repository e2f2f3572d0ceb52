/** The simulated network: gRPC connections and the transport of hand-offs, with their faults. */
@org.jspecify.annotations.NullMarked
package dev.baton.simulation.network;
