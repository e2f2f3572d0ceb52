/**
 * {@code baton bench split}: what a client waits for when a session is split over two workers,
 * beside the same session on one.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.bench.split;
