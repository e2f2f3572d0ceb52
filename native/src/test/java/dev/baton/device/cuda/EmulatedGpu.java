package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.baton.device.host.Bf16;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * The emulated GPU as tests of single kernels use it: buffers with nothing beside them, and
 * launches that fail with what the emulation found. Closing it takes all buffers back.
 */
final class EmulatedGpu implements AutoCloseable {

  private static final SymbolLookup LIBRARY = load();
  private static final MethodHandle LAUNCH =
      bind(
          "baton_emulate",
          FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS, JAVA_INT, ADDRESS));
  private static final MethodHandle ERROR =
      bind("baton_emulate_error", FunctionDescriptor.of(ADDRESS));
  private static final MethodHandle MEMORY =
      bind("baton_emulate_memory", FunctionDescriptor.ofVoid(ADDRESS, JAVA_LONG, JAVA_INT));

  static {
    try {
      bind("baton_emulate_races", FunctionDescriptor.ofVoid(JAVA_INT)).invokeExact(1);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  /** Numbers of a launch that are not a struct. */
  record Grid(int x, int y, int z) {}

  private final Arena arena = Arena.ofShared();
  private final java.util.List<MemorySegment> announced =
      java.util.Collections.synchronizedList(new java.util.ArrayList<>());

  @SuppressWarnings("restricted") // our own library
  private static SymbolLookup load() {
    String name =
        "/META-INF/native/linux-"
            + System.getProperty("os.arch").replace("amd64", "x86_64")
            + "/libbaton_cuda_emulated.so";
    URL resource = EmulatedGpu.class.getResource(name);
    try {
      return SymbolLookup.libraryLookup(
          Path.of(java.util.Objects.requireNonNull(resource, name).toURI()), Arena.global());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  @SuppressWarnings("restricted") // our own library
  private static MethodHandle bind(String name, FunctionDescriptor descriptor) {
    return Linker.nativeLinker().downcallHandle(LIBRARY.find(name).orElseThrow(), descriptor);
  }

  /** Bytes that kernels may touch, all ones; nothing around them may be touched. */
  MemorySegment bytes(long size) {
    MemorySegment memory = arena.allocate(size + 64, 64).asSlice(0, size);
    memory.fill((byte) 0xff);
    announce(memory, 1);
    announced.add(memory);
    return memory;
  }

  MemorySegment floats(float... values) {
    MemorySegment memory = bytes(4L * values.length);
    MemorySegment.copy(values, 0, memory, JAVA_FLOAT, 0, values.length);
    return memory;
  }

  MemorySegment ints(int... values) {
    MemorySegment memory = bytes(4L * values.length);
    MemorySegment.copy(values, 0, memory, JAVA_INT, 0, values.length);
    return memory;
  }

  MemorySegment bf16s(float... values) {
    MemorySegment memory = bytes(2L * values.length);
    for (int i = 0; i < values.length; i++) {
      memory.setAtIndex(JAVA_SHORT, i, Bf16.fromFloat(values[i]));
    }
    return memory;
  }

  /** A struct that kernels take by value: ints, longs, floats, pointers, and structs in it. */
  MemorySegment struct(Object... fields) {
    MemorySegment memory = arena.allocate(4096, 8);
    long at = 0;
    for (Object field : fields) {
      switch (field) {
        case Integer value -> {
          memory.set(JAVA_INT, at, value);
          at += 4;
        }
        case Float value -> {
          memory.set(JAVA_FLOAT, at, value);
          at += 4;
        }
        case Long value -> {
          at = (at + 7) / 8 * 8;
          memory.set(JAVA_LONG, at, value);
          at += 8;
        }
        case byte[] bytes -> {
          MemorySegment.copy(bytes, 0, memory, JAVA_BYTE, at, bytes.length);
          at += bytes.length;
        }
        default -> throw new IllegalArgumentException(field.toString());
      }
    }
    return memory.asSlice(0, (at + 7) / 8 * 8);
  }

  static byte[] inner(MemorySegment struct) {
    return struct.toArray(JAVA_BYTE);
  }

  static long address(MemorySegment buffer) {
    return buffer.address();
  }

  /** As {@link #launch}, with a struct where a byte[] stands and a pointer where a segment does. */
  void launch(String kernel, Grid grid, int threads, int sharedBytes, Object... parameters) {
    String error = attempt(kernel, grid, threads, sharedBytes, parameters);
    if (!error.isEmpty()) {
      throw new AssertionError(error);
    }
  }

  /** The launch's error; empty = none. */
  String attempt(String kernel, Grid grid, int threads, int sharedBytes, Object... parameters) {
    try (Arena call = Arena.ofConfined()) {
      MemorySegment values = call.allocate(8L * parameters.length, 8);
      for (int i = 0; i < parameters.length; i++) {
        Object value =
            parameters[i] instanceof MemorySegment m ? (Object) m.address() : parameters[i];
        MemorySegment copy =
            switch (value) {
              case Integer number -> call.allocateFrom(JAVA_INT, number);
              case Float number -> call.allocateFrom(JAVA_FLOAT, number);
              case Long number -> call.allocateFrom(JAVA_LONG, number);
              case byte[] struct -> {
                MemorySegment aligned = call.allocate(struct.length, 8);
                MemorySegment.copy(struct, 0, aligned, JAVA_BYTE, 0, struct.length);
                yield aligned;
              }
              default -> throw new IllegalArgumentException(value.toString());
            };
        values.setAtIndex(JAVA_LONG, i, copy.address());
      }
      int result =
          (int)
              LAUNCH.invokeExact(
                  call.allocateFrom(kernel),
                  call.allocateFrom(JAVA_INT, grid.x(), grid.y(), grid.z()),
                  call.allocateFrom(JAVA_INT, threads, 1, 1),
                  sharedBytes,
                  values);
      return result == 0 ? "" : error();
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  @SuppressWarnings("restricted") // the library's text ends with a zero
  private static String error() throws Throwable {
    return ((MemorySegment) ERROR.invokeExact()).reinterpret(4096).getString(0);
  }

  private static void announce(MemorySegment memory, int live) {
    try {
      MEMORY.invokeExact(memory, memory.byteSize(), live);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  static float[] floatsOf(MemorySegment buffer) {
    return buffer.toArray(JAVA_FLOAT);
  }

  static int[] bitsOf(MemorySegment buffer) {
    return buffer.toArray(JAVA_INT);
  }

  static float[] widened(MemorySegment buffer) {
    short[] bits = buffer.toArray(JAVA_SHORT);
    float[] values = new float[bits.length];
    for (int i = 0; i < bits.length; i++) {
      values[i] = Bf16.toFloat(bits[i]);
    }
    return values;
  }

  /** A row of values, as bfloat16 has them. */
  static float[] rounded(float[] values) {
    float[] result = Arrays.copyOf(values, values.length);
    for (int i = 0; i < result.length; i++) {
      result[i] = Bf16.toFloat(Bf16.fromFloat(result[i]));
    }
    return result;
  }

  @Override
  public void close() {
    announced.forEach(memory -> announce(memory, 0));
    arena.close();
  }
}
