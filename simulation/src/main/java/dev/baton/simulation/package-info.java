/**
 * Deterministic simulation: the production router, workers, engine and hand-off run in one thread
 * on a virtual clock, a simulated network and a model whose next token is a hash of all tokens
 * before it. One seed decides everything: {@link dev.baton.simulation.Simulation} draws a {@link
 * dev.baton.simulation.Scenario} from it, runs it and judges it. {@link
 * dev.baton.simulation.Campaign} runs many.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.simulation;
