# The app on a CPU, as a user without rights:
#   docker build -t panda . && docker run --rm -p 127.0.0.1:8501:8501 -v panda:/data panda
FROM python:3.11-slim
RUN useradd --create-home --uid 1000 panda && install -d -o panda /data
WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -r requirements.txt
COPY .streamlit ./.streamlit
COPY app.py main.py ./
COPY pages ./pages
COPY panda_core ./panda_core
COPY assets ./assets
USER panda
ENV PANDA_RUNS=/data/runs PANDA_DATA=/data/data PANDA_CACHE_DIR=/data/cache
VOLUME /data
EXPOSE 8501
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=3)"]
# All addresses of the container: which of them the host's others reach, `-p` says.
CMD ["python", "-m", "streamlit", "run", "app.py", "--server.address", "0.0.0.0"]
