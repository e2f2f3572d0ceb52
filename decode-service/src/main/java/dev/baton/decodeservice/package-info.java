/**
 * The gRPC service of the decode role: holds a session for its life and streams its tokens, from KV
 * that a prefill worker hands over or from a prompt computed here. {@link
 * dev.baton.decodeservice.DecodeService} takes the calls; {@link
 * dev.baton.decodeservice.DecodeAttempt} is one session's life, decided by {@link
 * dev.baton.decodeservice.DecodeMachine}; {@link dev.baton.decodeservice.Arrival} and {@link
 * dev.baton.decodeservice.Departure} are its KV on the way in and out.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.decodeservice;
