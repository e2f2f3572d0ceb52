/** The nodes of a simulated cluster, put together from the production parts. */
@org.jspecify.annotations.NullMarked
package dev.baton.simulation.cluster;
