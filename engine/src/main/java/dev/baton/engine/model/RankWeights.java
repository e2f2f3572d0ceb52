package dev.baton.engine.model;

import dev.baton.device.LinearWeight;
import java.util.List;

/**
 * One rank's packed weights.
 *
 * @param lmHead {@code [vocabulary of the rank, hidden]}
 */
record RankWeights(List<LayerWeights> layers, LinearWeight lmHead) {}
