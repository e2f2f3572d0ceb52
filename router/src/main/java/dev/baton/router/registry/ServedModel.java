package dev.baton.router.registry;

import dev.baton.proto.worker.v1.ModelIdentity;
import dev.baton.router.text.TextModel;

/**
 * A model that workers serve under one name: what all of them must have in common, and its text
 * side.
 *
 * @param createdSeconds when the router first saw it, seconds since 1970
 */
public record ServedModel(ModelIdentity identity, TextModel text, long createdSeconds) {

  public String name() {
    return identity.getName();
  }

  /** Tokens of prompt and continuation together. */
  public int contextLength() {
    return identity.getContextLength();
  }
}
