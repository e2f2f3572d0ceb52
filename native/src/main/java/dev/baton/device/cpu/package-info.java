/**
 * The CPU as a device: C++ kernels of several instruction set tiers, called by the FFM API. {@link
 * dev.baton.device.cpu.CpuDevice#open} is the only door.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.device.cpu;
