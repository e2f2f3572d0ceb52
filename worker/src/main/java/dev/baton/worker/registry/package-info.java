/** The stream on which a worker registers with the router and reports its status. */
@org.jspecify.annotations.NullMarked
package dev.baton.worker.registry;
