"""The shelf's pages: a list with a form, one book, JSON, a streamed export, an upload."""

import csv
import hashlib
import os
import time

from django.contrib import messages
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from .forms import BookForm, UploadForm
from .models import Book

MAX_DELAY_SECONDS = 10.0


def every_page(request) -> dict:
    """What the page frame shows everywhere."""
    return {"pid": os.getpid()}


def wants_json(request) -> bool:
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


@require_http_methods(["GET", "HEAD", "POST"])
def shelf(request):
    form = BookForm(request.POST or None)
    if request.method == "POST":
        if form.is_valid():
            book = form.save()
            messages.success(request, f"“{book.title}” stands on the shelf.")
            return redirect("shelf:shelf")
        status = 422
    else:
        status = 200
    return render(request, "shelf/shelf.html", {"books": Book.objects.all(), "form": form}, status=status)


@require_http_methods(["GET", "HEAD"])
def book(request, pk: int):
    return render(request, "shelf/book.html", {"book": get_object_or_404(Book, pk=pk)})


@require_GET
def api_books(request):
    books = list(Book.objects.values("id", "title", "author", "year", "lent_to"))
    return JsonResponse({"books": books, "count": len(books)})


class _Line:
    """Gives the csv writer a file whose write() hands the line back."""

    @staticmethod
    def write(line: str) -> str:
        return line


@require_GET
def export(request):
    """The shelf as CSV, line by line; `?delay=0.5` waits that long before each book."""
    try:
        delay = min(max(float(request.GET.get("delay", 0)), 0.0), MAX_DELAY_SECONDS)
    except ValueError:
        delay = 0.0

    def lines():
        writer = csv.writer(_Line())
        yield writer.writerow(["title", "author", "year", "lent to"])
        for one in Book.objects.iterator():
            time.sleep(delay)
            yield writer.writerow([one.title, one.author, one.year or "", one.lent_to])

    return StreamingHttpResponse(
        lines(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="shelf.csv"'},
    )


@require_http_methods(["GET", "HEAD", "POST"])
def upload(request):
    form = UploadForm(request.POST or None, request.FILES or None)
    result = None
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        digest = hashlib.sha256()
        for piece in file.chunks():
            digest.update(piece)
        result = {"name": file.name, "size": file.size, "sha256": digest.hexdigest()}
    status = 422 if request.method == "POST" and result is None else 200
    if wants_json(request):
        return JsonResponse(result or {"errors": form.errors}, status=status)
    return render(request, "shelf/upload.html", {"form": form, "result": result}, status=status)


@require_GET
def connection(request):
    seen = {
        "scheme": request.scheme,
        "host": request.get_host(),
        "client": request.META.get("HTTP_X_FORWARDED_FOR", request.META.get("REMOTE_ADDR", "")),
        "url": request.build_absolute_uri(),
        "protocol": request.META.get("SERVER_PROTOCOL", ""),
        "server": request.META.get("SERVER_SOFTWARE", ""),
        "pid": os.getpid(),
    }
    if wants_json(request):
        return JsonResponse(seen)
    return render(request, "shelf/connection.html", {"seen": seen})


@require_http_methods(["GET", "HEAD"])
def healthz(request):
    Book.objects.exists()  # the database answers
    return HttpResponse("ok\n", content_type="text/plain; charset=utf-8")
