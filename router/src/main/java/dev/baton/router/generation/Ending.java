package dev.baton.router.generation;

import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.inference.v1.Usage;
import org.jspecify.annotations.Nullable;

/**
 * How a continuation ended, and what it used.
 *
 * @param stopString the one of the request's stop strings that ended it; null when none did
 * @param stopTokenId the one of the request's stop_token_ids that ended it; null when none did, as
 *     at the model's own end of sequence
 */
public record Ending(
    FinishReason reason, @Nullable String stopString, @Nullable Integer stopTokenId, Usage usage) {}
