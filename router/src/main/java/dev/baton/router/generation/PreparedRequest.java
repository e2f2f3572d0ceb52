package dev.baton.router.generation;

import dev.baton.router.registry.ServedModel;

/**
 * A request that has passed all checks and can be started, several times with several seeds.
 *
 * @param promptTokens not to be changed
 * @param request its sampling has all fields set
 */
public record PreparedRequest(ServedModel model, int[] promptTokens, GenerationRequest request) {}
