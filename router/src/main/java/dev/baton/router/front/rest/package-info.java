/**
 * The OpenAI REST front, on Vert.x.
 *
 * <p>A request is read on its event loop, parsed and tokenized on a virtual thread, and answered on
 * the event loop again, where {@link dev.baton.router.front.rest.Reply} gathers its continuations.
 *
 * <p>A client that closes its sending side counts as gone, and what runs for it is freed: on the
 * wire it cannot be told from one that left.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.router.front.rest;
