package dev.baton.router.session;

import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.router.registry.ServedModel;

/**
 * What a session shall do; checked before, so that no worker has to.
 *
 * @param sessionId unique; the key in every log line
 * @param prompt token ids of the model's vocabulary, at least one; not to be changed any more
 * @param sampling all fields set; max_tokens fits the context
 * @param deadlineMillis from the start, after which the session fails; at least 1
 * @param priority larger runs first; 0 = normal
 */
public record SessionOrder(
    String sessionId,
    ServedModel model,
    int[] prompt,
    SamplingParameters sampling,
    long deadlineMillis,
    String cacheSalt,
    int priority) {}
