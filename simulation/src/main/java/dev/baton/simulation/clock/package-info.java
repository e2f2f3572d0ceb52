/** Virtual time: one queue of events, processes that may stand still or die, and their threads. */
@org.jspecify.annotations.NullMarked
package dev.baton.simulation.clock;
