package dev.baton.engine.checkpoint;

import java.util.Set;

/**
 * The mixture of experts that takes the place of the feed-forward part in some layers (Shazeer et
 * al., Outrageously Large Neural Networks, 2017).
 *
 * @param experts feed-forward parts of a layer
 * @param chosen of them for each token
 * @param innerSize inner width of each
 * @param normalized the weights of the chosen experts add up to 1
 * @param layers that have it, from 0; not empty
 */
public record Mixture(
    int experts, int chosen, int innerSize, boolean normalized, Set<Integer> layers) {

  public Mixture {
    layers = Set.copyOf(layers);
  }
}
