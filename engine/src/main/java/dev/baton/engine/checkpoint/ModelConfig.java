package dev.baton.engine.checkpoint;

import dev.baton.device.DType;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a model directory says about its model; read by {@link ConfigReader}, checked there.
 *
 * @param intermediateSize inner width of the feed-forward part of layers without a mixture
 * @param kvHeads divides {@code heads}
 * @param headDim elements of a head, even
 * @param normEpsilon added to the mean square in every norm
 * @param ropeTheta base of the rotary frequencies
 * @param biases which products have one
 * @param windows by layer: positions that attention sees back, the token's own counted; 0 = all
 * @param mixture null when no layer has one
 * @param tiedEmbeddings the output layer is the embedding
 * @param contextLength most positions that the model was made for
 * @param dtype dtype that the config declares for the weights; null when it declares none
 * @param eosTokenIds from generation_config.json, else config.json; may be empty
 */
public record ModelConfig(
    Architecture architecture,
    int vocabularySize,
    int hiddenSize,
    int intermediateSize,
    int layers,
    int heads,
    int kvHeads,
    int headDim,
    float normEpsilon,
    double ropeTheta,
    RopeScaling ropeScaling,
    Biases biases,
    List<Integer> windows,
    @Nullable Mixture mixture,
    boolean tiedEmbeddings,
    int contextLength,
    @Nullable DType dtype,
    List<Integer> eosTokenIds) {

  public ModelConfig {
    windows = List.copyOf(windows);
    eosTokenIds = List.copyOf(eosTokenIds);
  }

  /** The mixture of a layer, or null. */
  public @Nullable Mixture mixtureIn(int layer) {
    return mixture != null && mixture.layers().contains(layer) ? mixture : null;
  }

  /** Inner width of the widest feed-forward part that is no mixture; 0 when all are. */
  public int denseSize() {
    return mixture != null && mixture.layers().size() == layers ? 0 : intermediateSize;
  }
}
