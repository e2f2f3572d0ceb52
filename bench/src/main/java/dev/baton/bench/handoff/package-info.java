/**
 * {@code baton bench handoff}: what a hand-off costs beside plain UCX, between two processes of
 * this machine.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.bench.handoff;
