package dev.baton.device;

/**
 * How large the steps of one rank become, for a device that plans its working memory ahead.
 *
 * @param tokens most tokens of a step
 * @param sequences most sequences
 * @param blocks longest block table
 * @param blockTokens token positions of a block
 * @param logitRows most rows of logits
 * @param hidden width of the residual stream
 * @param heads query heads of the rank
 * @param headDim elements of a head
 * @param inputs widest input of a product
 * @param slotInputs widest input of an expert's product; 0 = the model has no mixture
 * @param chosen experts of each token; 0 likewise
 * @param outputs widest output of a product but for logits
 */
public record StepShape(
    int tokens,
    int sequences,
    int blocks,
    int blockTokens,
    int logitRows,
    int hidden,
    int heads,
    int headDim,
    int inputs,
    int slotInputs,
    int chosen,
    int outputs) {}
