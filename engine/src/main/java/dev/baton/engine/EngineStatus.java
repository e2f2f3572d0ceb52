package dev.baton.engine;

/**
 * Counters and gauges of an engine at one instant; see the fields of the same names in
 * worker.proto.
 *
 * @param waitingSessions in the queue, the preempted ones included; without blocks
 * @param runningSessions that take part in steps; neither reservations nor finished prefills whose
 *     blocks are kept
 * @param queuedPromptTokens still to be computed before their sessions decode
 * @param promptTokens computed before decoding, those computed again after a preemption included
 * @param generatedTokens sampled here
 * @param cachedTokens found in the prefix cache when sessions first got blocks
 * @param preemptions sessions that had to give back their blocks
 * @param swaps those of them whose KV was copied to host memory, not to be computed again
 */
public record EngineStatus(
    int waitingSessions,
    int runningSessions,
    long queuedPromptTokens,
    LedgerSnapshot ledger,
    long steps,
    long promptTokens,
    long generatedTokens,
    long cachedTokens,
    long preemptions,
    long swaps) {}
