/**
 * The exactness rules of {@link dev.baton.device} as plain Java, without regard to speed: the
 * oracle that the kernels of other devices are tested against, and the fall-back where no native
 * library can be had.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.device.reference;
