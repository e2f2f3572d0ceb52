/** Calls that ask a worker about itself or tell it to leave. */
@org.jspecify.annotations.NullMarked
package dev.baton.worker.control;
