"""`manage.py test`: the pages, without any server in front."""

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase

JSON = {"HTTP_ACCEPT": "application/json"}


class Pages(TestCase):
    def test_every_page_answers(self):
        for path in ["/", "/books/1", "/api/books", "/export.csv", "/upload", "/connection", "/healthz", "/admin/login/"]:
            with self.subTest(path=path):
                self.assertEqual(self.client.get(path).status_code, 200)
        self.assertEqual(self.client.get("/books/999").status_code, 404)

    def test_a_book_is_added_once(self):
        book = {"title": "Emma", "author": "Jane Austen", "year": "1815"}
        page = self.client.post("/", book, follow=True)
        self.assertContains(page, "“Emma” stands on the shelf.")
        self.assertEqual(self.client.post("/", book).status_code, 422)

    def test_an_upload_is_measured(self):
        told = self.client.post("/upload", {"file": SimpleUploadedFile("a b.txt", b"abc")}, **JSON).json()
        self.assertEqual((told["name"], told["size"]), ("a b.txt", 3))
        self.assertEqual(self.client.post("/upload", **JSON).status_code, 422)

    def test_the_proxy_is_believed(self):
        told = self.client.get("/connection", HTTP_X_FORWARDED_PROTO="https", HTTP_X_FORWARDED_HOST="localhost", **JSON).json()
        self.assertEqual(told["url"], "https://localhost/connection")
