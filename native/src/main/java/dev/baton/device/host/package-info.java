/**
 * What all devices in host memory share: memory and its limits, the step's batch, argument checks,
 * canonical ranges, and the meeting point of ranks. Only the device packages use it.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.device.host;
