/**
 * The forward pass, written once against {@link dev.baton.device.Ops}, and the ranks that run it.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.engine.model;
