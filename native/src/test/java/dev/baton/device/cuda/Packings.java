package dev.baton.device.cuda;

/**
 * The struct Packing of layouts.h: how columns of a product's inputs lie in memory, as tests build
 * it. Ranges are those of the whole model's width.
 *
 * @param first the first range of this row
 * @param width elements of a range, a multiple of 32
 */
record Packings(int inputs, int whole, int parts, int first, int ranges, int width) {

  static Packings of(int whole, int parts, int first, int ranges) {
    int width = 0;
    for (int i = 0; i < parts; i++) {
      width = Math.max(width, border(whole, parts, i + 1) - border(whole, parts, i));
    }
    int inputs = border(whole, parts, first + ranges) - border(whole, parts, first);
    return new Packings(inputs, whole, parts, first, ranges, (width + 31) / 32 * 32);
  }

  /** Inputs of a weight whose columns are not shared out. */
  static Packings column(int inputs) {
    return of(inputs, 4, 0, 4);
  }

  private static int border(int whole, int parts, int i) {
    return (int) ((long) i * whole / parts);
  }

  int border(int range) {
    return border(whole, parts, first + range) - border(whole, parts, first);
  }

  int pitch() {
    return ranges * width;
  }

  int place(int column) {
    int range = 0;
    while (column >= border(range + 1)) {
      range++;
    }
    return range * width + column - border(range);
  }

  byte[] struct(EmulatedGpu gpu) {
    return EmulatedGpu.inner(gpu.struct(inputs, whole, parts, first, ranges, width));
  }

  /** Rows of {@link #inputs} columns as rows of {@link #pitch}, zeros between. */
  float[] pack(float[] rows) {
    int count = rows.length / inputs;
    float[] packed = new float[count * pitch()];
    for (int row = 0; row < count; row++) {
      for (int column = 0; column < inputs; column++) {
        packed[row * pitch() + place(column)] = rows[row * inputs + column];
      }
    }
    return packed;
  }
}
