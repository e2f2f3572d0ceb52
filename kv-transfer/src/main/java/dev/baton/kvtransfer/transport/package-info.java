/**
 * What a hand-off needs of a network: small messages with an optional payload whose landing place
 * the receiver chooses, in peer processes that may vanish at any time.
 *
 * <p>A transport has one thread, on which everything happens: messages arrive there, tasks given to
 * {@link dev.baton.kvtransfer.transport.Transport#execute} run there, and all methods of {@link
 * dev.baton.kvtransfer.transport.Connection} and {@link
 * dev.baton.kvtransfer.transport.IncomingPayload} are called there. No callback is made from within
 * a call.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.kvtransfer.transport;
