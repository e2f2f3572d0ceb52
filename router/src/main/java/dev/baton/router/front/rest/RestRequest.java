package dev.baton.router.front.rest;

import dev.baton.router.generation.GenerationRequest;
import java.util.List;

/**
 * A completion request of either endpoint, its types checked.
 *
 * @param prompts one per prompt; a chat has one
 * @param n continuations of each prompt
 * @param includeUsage the stream ends with a chunk of usage
 * @param returnTokenIds token ids go out beside the text
 * @param echo the text of each choice begins with its prompt
 * @param promptOnly the one token that must be generated is not told: the prompt alone is of
 *     interest
 * @param promptLogprobs likeliest tokens that vLLM's list of the prompt's log probabilities names
 *     in each place; -1 = no list
 */
record RestRequest(
    List<GenerationRequest> prompts,
    int n,
    boolean stream,
    boolean includeUsage,
    boolean returnTokenIds,
    boolean echo,
    boolean promptOnly,
    int promptLogprobs) {

  RestRequest {
    prompts = List.copyOf(prompts);
  }

  /** Continuations in all. */
  int choices() {
    return prompts.size() * n;
  }
}
