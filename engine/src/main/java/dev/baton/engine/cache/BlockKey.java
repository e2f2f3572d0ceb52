package dev.baton.engine.cache;

/**
 * Names the content of a full block: the first 128 bits of a SHA-256 over everything that its KV
 * depends on. Equal keys mean equal KV.
 */
public record BlockKey(long high, long low) {

  @Override
  public int hashCode() {
    return Long.hashCode(low);
  }
}
