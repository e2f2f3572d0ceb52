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
 */
record RestRequest(
    List<GenerationRequest> prompts,
    int n,
    boolean stream,
    boolean includeUsage,
    boolean returnTokenIds,
    boolean echo) {

  RestRequest {
    prompts = List.copyOf(prompts);
  }

  /** Continuations in all. */
  int choices() {
    return prompts.size() * n;
  }
}
