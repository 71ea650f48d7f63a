# What `make demo` does, without a checkout's tools: docker build -t unsaf-async . && docker run --rm unsaf-async
# A folder for results: docker run --rm --user "$(id -u)" -v "$PWD/runs:/data/runs" unsaf-async run --out runs/demo
FROM python:3.12-slim

WORKDIR /src
COPY requirements.txt ./
RUN python -m pip install --no-cache-dir --require-hashes --requirement requirements.txt
# Named one by one: keys, replies and runs that lie in a checkout stay out of the image.
COPY pyproject.toml README.md LICENSE ./
COPY unsaf_async ./unsaf_async
COPY providers ./providers
COPY prompts ./prompts
COPY images ./images
RUN python -m pip install --no-cache-dir --no-deps .

RUN useradd --create-home unsaf && mkdir -m 777 /data
ENV XDG_STATE_HOME=/tmp/state
USER unsaf
WORKDIR /data
ENTRYPOINT ["unsaf-async"]
CMD ["run"]
