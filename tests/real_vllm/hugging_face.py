"""The tiny model answered by transformers' own code. Runs in vLLM's environment, which has torch.

    hugging_face.py MODEL MOST_TOKENS < [[IMAGE, QUESTION], ...] > [[IDS, TEXT, LOGPROBS], ...]

Greedy. IDS, LOGPROBS: the tokens of the reply and their natural log-probabilities, the closing token included.
"""

from __future__ import annotations

import json
import sys

import torch
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration


def main() -> None:
    folder, most_tokens = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    replies = []
    for image, question in json.load(sys.stdin):
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
        prompt = processor.apply_chat_template([turn], add_generation_prompt=True)
        # The template writes <bos> itself.
        inputs = processor(images=Image.open(image), text=prompt, add_special_tokens=False, return_tensors="pt")
        with torch.inference_mode():
            out = model.generate(
                **inputs, do_sample=False, max_new_tokens=most_tokens, return_dict_in_generate=True, output_logits=True
            )
        ids = out.sequences[0, inputs["input_ids"].shape[1] :]
        logprobs = torch.stack([logits[0] for logits in out.logits]).log_softmax(-1)
        chosen = logprobs[torch.arange(len(ids)), ids]
        replies.append([ids.tolist(), processor.decode(ids, skip_special_tokens=True), chosen.tolist()])
    json.dump(replies, sys.stdout)


if __name__ == "__main__":
    main()
