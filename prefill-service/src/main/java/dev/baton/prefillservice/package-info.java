/**
 * The gRPC service of the prefill role: computes a prompt, samples its first token, hands the KV to
 * the decode worker that the ticket names. {@link dev.baton.prefillservice.PrefillService} takes
 * the calls, {@link dev.baton.prefillservice.PrefillAttempt} is one session's life. Beside it
 * {@link dev.baton.prefillservice.PrefixService}, by which a worker gets a cached prefix from
 * another instead of computing it.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.prefillservice;
