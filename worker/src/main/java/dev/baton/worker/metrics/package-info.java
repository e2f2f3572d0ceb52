/** A worker's numbers in the Prometheus text format. */
@org.jspecify.annotations.NullMarked
package dev.baton.worker.metrics;
