package dev.baton.router.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Python's arithmetic operators. */
final class Arithmetic {

  /** Bits of a power; beyond lies no number that a template means. */
  private static final int MAX_POWER_BITS = 100_000;

  private Arithmetic() {}

  static Object apply(String operator, Object a, Object b) {
    Values.refuseUndefined(a);
    if (operator.equals("%") && Values.string(a) instanceof String format) {
      return Formatting.format(format, b);
    }
    Values.refuseUndefined(b);
    Object sequence = sequence(operator, a, b);
    if (sequence != null) {
      return sequence;
    }
    BigInteger m = Values.integer(a);
    BigInteger n = Values.integer(b);
    if (m != null && n != null) {
      return whole(operator, m, n);
    }
    Double x = Values.real(a);
    Double y = Values.real(b);
    if (x == null || y == null) {
      throw new TemplateException(
          "'" + operator + "' between '" + Values.type(a) + "' and '" + Values.type(b) + "'");
    }
    return real(operator, x, y);
  }

  private static @Nullable Object sequence(String operator, Object a, Object b) {
    if (operator.equals("+")) {
      if (Values.string(a) instanceof String && Values.string(b) instanceof String) {
        return concatenate(a, b);
      }
      if (a instanceof List<?> left && b instanceof List<?> right) {
        return joined(left, right);
      }
      if (a instanceof Value.Tuple left && b instanceof Value.Tuple right) {
        return new Value.Tuple(joined(left.items(), right.items()));
      }
    }
    if (operator.equals("*")) {
      BigInteger n = Values.integer(b);
      return n != null
          ? repeat(a, n)
          : Values.integer(a) instanceof BigInteger m ? repeat(b, m) : null;
    }
    return null;
  }

  /** Text joined; marked text escapes what it is joined with, and stays marked. */
  private static Object concatenate(Object a, Object b) {
    String left = Printing.str(a);
    String right = Printing.str(b);
    Run.checkLength((long) left.length() + right.length());
    if (a instanceof Value.Markup || b instanceof Value.Markup) {
      return new Value.Markup(escaped(a, left) + escaped(b, right));
    }
    return left + right;
  }

  private static String escaped(Object value, String text) {
    return value instanceof Value.Markup ? text : Text.escapeHtml(text);
  }

  private static List<Object> joined(List<?> left, List<?> right) {
    Run.checkLength((long) left.size() + right.size());
    List<Object> all = new ArrayList<>(left);
    all.addAll(right);
    return all;
  }

  private static @Nullable Object repeat(Object value, BigInteger times) {
    if (value instanceof Value.Tuple tuple) {
      return repeat(tuple.items(), times) instanceof List<?> all
          ? new Value.Tuple(Values.items(all))
          : null;
    }
    if (!(value instanceof String) && !(value instanceof List<?>)) {
      return null;
    }
    int count =
        times.signum() < 0 ? 0 : times.bitLength() > 31 ? Integer.MAX_VALUE : times.intValue();
    Run.checkLength((long) Values.length(value) * count);
    if (value instanceof String text) {
      return text.repeat(count);
    }
    List<Object> all = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      all.addAll(Values.items(value));
    }
    return all;
  }

  private static Object whole(String operator, BigInteger m, BigInteger n) {
    return switch (operator) {
      case "+" -> m.add(n);
      case "-" -> m.subtract(n);
      case "*" -> product(m, n);
      case "/" -> {
        refuseZero(n.signum() == 0);
        yield m.doubleValue() / n.doubleValue();
      }
      case "//" -> {
        refuseZero(n.signum() == 0);
        BigInteger[] parts = m.divideAndRemainder(n);
        boolean down = parts[1].signum() != 0 && parts[1].signum() != n.signum();
        yield down ? parts[0].subtract(BigInteger.ONE) : parts[0];
      }
      case "%" -> {
        refuseZero(n.signum() == 0);
        BigInteger rest = m.remainder(n);
        yield rest.signum() != 0 && rest.signum() != n.signum() ? rest.add(n) : rest;
      }
      case "**" -> {
        if (n.signum() < 0) {
          yield real("**", m.doubleValue(), n.doubleValue());
        }
        yield power(m, n);
      }
      default -> throw new IllegalStateException(operator);
    };
  }

  private static BigInteger power(BigInteger m, BigInteger n) {
    if (n.bitLength() > 31 || (long) m.bitLength() * n.intValue() > MAX_POWER_BITS) {
      throw new TemplateException("**: result is too large");
    }
    return m.pow(n.intValue());
  }

  private static BigInteger product(BigInteger m, BigInteger n) {
    if (m.bitLength() + n.bitLength() > MAX_POWER_BITS) {
      throw new TemplateException("*: result is too large");
    }
    return m.multiply(n);
  }

  private static Object real(String operator, double x, double y) {
    return switch (operator) {
      case "+" -> x + y;
      case "-" -> x - y;
      case "*" -> x * y;
      case "/" -> {
        refuseZero(y == 0);
        yield x / y;
      }
      case "//" -> {
        refuseZero(y == 0);
        yield Math.floor(x / y);
      }
      case "%" -> {
        refuseZero(y == 0);
        double rest = x % y;
        yield rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
      }
      case "**" -> {
        refuseZero(x == 0 && y < 0);
        yield Math.pow(x, y);
      }
      default -> throw new IllegalStateException(operator);
    };
  }

  private static void refuseZero(boolean zero) {
    if (zero) {
      throw new TemplateException("division by zero");
    }
  }

  static Object negate(Object value) {
    Values.refuseUndefined(value);
    if (Values.integer(value) instanceof BigInteger number) {
      return number.negate();
    }
    if (value instanceof Double number) {
      return -number;
    }
    throw new TemplateException("unary '-': '" + Values.type(value) + "' (expected: number)");
  }
}
