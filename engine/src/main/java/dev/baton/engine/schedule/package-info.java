/**
 * Which tokens run in the next step, and which sessions hold blocks meanwhile. Knows sessions and
 * blocks, not logits; has no thread and no clock. Everything belongs to the step thread.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.engine.schedule;
