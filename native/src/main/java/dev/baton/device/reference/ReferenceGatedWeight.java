package dev.baton.device.reference;

import dev.baton.device.GatedWeight;
import dev.baton.device.WeightFormat;

/** Two weights of one shape, each as it would be alone. */
record ReferenceGatedWeight(ReferenceLinearWeight gate, ReferenceLinearWeight up)
    implements GatedWeight {

  @Override
  public int outputs() {
    return gate.outputs();
  }

  @Override
  public int inputs() {
    return gate.inputs();
  }

  @Override
  public WeightFormat format() {
    return gate.format();
  }
}
