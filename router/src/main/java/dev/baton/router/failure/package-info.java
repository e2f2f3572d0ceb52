/**
 * What goes wrong, said once: a {@link dev.baton.proto.errors.v1.Failure} as an exception, and how
 * each code shows at the fronts.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.router.failure;
