/**
 * A session's life: placed on workers, reserved, prefilled, handed over, its tokens taken in order
 * and exactly once.
 *
 * <p>{@link dev.baton.router.session.SessionMachine} decides, with no thread, clock or socket of
 * its own; {@link dev.baton.router.session.Session} does what it says over gRPC; {@link
 * dev.baton.router.session.Sessions} starts sessions and knows all of them.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.router.session;
