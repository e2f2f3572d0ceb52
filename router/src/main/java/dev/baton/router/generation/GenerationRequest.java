package dev.baton.router.generation;

import dev.baton.proto.inference.v1.SamplingParameters;
import java.util.List;

/**
 * One continuation of one prompt, as a client asks for it; nothing checked yet.
 *
 * @param id names the request in logs; the session's id begins with it
 * @param model empty = the only model
 * @param sampling unset fields get the model's defaults
 * @param maxTokensField what the front calls max_tokens, for messages
 * @param defaultMaxTokens when max_tokens is unset; 0 = the rest of the context
 * @param timeoutMillis 0 = the server's default
 * @param priority larger runs first; 0 = normal
 */
public record GenerationRequest(
    String id,
    String model,
    Prompt prompt,
    SamplingParameters sampling,
    String maxTokensField,
    int defaultMaxTokens,
    List<String> stop,
    boolean skipSpecialTokens,
    long timeoutMillis,
    String cacheSalt,
    int priority) {}
