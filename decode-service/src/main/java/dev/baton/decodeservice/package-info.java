/**
 * The gRPC service of the decode role: holds a session for its life and streams its tokens, from KV
 * that a prefill worker hands over or from a prompt computed here. {@link
 * dev.baton.decodeservice.DecodeService} takes the calls; {@link
 * dev.baton.decodeservice.HandoffAttempt} and {@link dev.baton.decodeservice.LocalAttempt} are the
 * two ways of a session, {@link dev.baton.decodeservice.Suspension} is its leave to another worker.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.decodeservice;
