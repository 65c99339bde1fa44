from django.contrib import admin

from .models import Book


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ["title", "author", "year", "lent_to"]
    list_editable = ["lent_to"]
    list_filter = ["author"]
    search_fields = ["title", "author"]
    date_hierarchy = "added"
