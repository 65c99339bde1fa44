from django.urls import path

from . import views

app_name = "shelf"
urlpatterns = [
    path("", views.shelf, name="shelf"),
    path("books/<int:pk>", views.book, name="book"),
    path("api/books", views.api_books, name="api_books"),
    path("export.csv", views.export, name="export"),
    path("upload", views.upload, name="upload"),
    path("connection", views.connection, name="connection"),
    path("healthz", views.healthz, name="healthz"),
]
