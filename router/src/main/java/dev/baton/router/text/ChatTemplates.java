package dev.baton.router.text;

/** The chat templates of a model directory. */
final class ChatTemplates {

  static ChatTemplates read(ModelDirectory directory) {
    SpecialTokens.read(directory);
    return new ChatTemplates();
  }

  boolean present() {
    return false;
  }

  String render(TextModel.ChatInput input) {
    throw new TextModelException("chat template: the model has none");
  }
}
