package dev.baton.router.template;

import java.util.List;

/** What set and for assign to. */
sealed interface Target {

  void assign(Scope scope, Object value);

  record Name(String name) implements Target {
    @Override
    public void assign(Scope scope, Object value) {
      scope.set(name, value);
    }
  }

  record Unpacked(List<Target> targets) implements Target {
    @Override
    public void assign(Scope scope, Object value) {
      List<Object> items = Values.items(value);
      if (items.size() != targets.size()) {
        throw new TemplateException(
            "unpacking: " + items.size() + " values (expected: " + targets.size() + ")");
      }
      for (int i = 0; i < items.size(); i++) {
        targets.get(i).assign(scope, items.get(i));
      }
    }
  }

  record NamespaceAttribute(String namespace, String attribute) implements Target {
    @Override
    public void assign(Scope scope, Object value) {
      if (!(scope.get(namespace) instanceof Value.Namespace target)) {
        throw new TemplateException("'" + namespace + "': not a namespace, cannot set attributes");
      }
      target.attributes.put(attribute, value);
    }
  }
}
