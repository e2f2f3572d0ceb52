/**
 * NVIDIA GPUs behind the face of a device: one rank per GPU, kernels of ours launched by the CUDA
 * driver's API through JCuda. The same code runs in tests over {@code libbaton_cuda_emulated.so},
 * which is a libcuda.so.1 of ours: host memory, and kernels compiled for the host.
 *
 * <p>Memory of a device has a {@link java.lang.foreign.MemorySegment} whose address is the GPU's:
 * it is passed on and compared, never read.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.device.cuda;
