/**
 * Messages of the protocol to values of engine and transfer, and back; the only place that does.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.worker.wire;
