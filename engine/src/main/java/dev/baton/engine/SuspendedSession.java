package dev.baton.engine;

/**
 * A session that stands still between two tokens, to go on elsewhere.
 *
 * @param tokens prompt and generated tokens; the KV of all but the last is computed
 * @param kv its blocks, until {@link Engine#release}
 */
public record SuspendedSession(int[] tokens, KvView kv) {}
