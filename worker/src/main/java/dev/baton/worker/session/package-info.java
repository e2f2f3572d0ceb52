/** Sessions of this process: admission by epoch, event streams, deadlines, the end. */
@org.jspecify.annotations.NullMarked
package dev.baton.worker.session;
