package dev.baton.engine;

/**
 * Counters and gauges of an engine at one instant; see the fields of the same names in
 * worker.proto.
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
    long preemptions) {}
