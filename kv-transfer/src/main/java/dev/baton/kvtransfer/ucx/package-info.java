/**
 * Transport over UCX by jucx, for the versions and settings that were measured to keep shared
 * memory, zero-copy and fault detection; the only package that knows jucx.
 *
 * <p>Only active messages are used. The context does not ask for remote memory access: over TCP and
 * shared memory UCX emulates it in software without checking keys or bounds, so that any peer could
 * read and write the whole process.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.kvtransfer.ucx;
