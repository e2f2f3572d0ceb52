/** The thread that owns the engine, and the way of its events out of it. */
@org.jspecify.annotations.NullMarked
package dev.baton.worker.step;
